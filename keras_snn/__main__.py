"""``python -m keras_snn``."""

from keras_snn.cli import main

raise SystemExit(main())
