"""``python -m wordllama_st COMMAND``, which ``torchrun -m`` and ``accelerate launch -m`` run in several processes."""

import sys

from wordllama_st.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
