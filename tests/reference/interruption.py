"""Interrupted training."""


def interrupt_second_epoch(monkeypatch, diary):
    """Make a callback class raise KeyboardInterrupt at the start of the second epoch; return a list of begun epochs."""
    begin, begun = diary.on_epoch_begin, []

    def interrupt(self, epoch, logs=None):
        begun.append(epoch)
        if begun == [0, 1]:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    monkeypatch.setattr(diary, "on_epoch_begin", interrupt)
    return begun
