"""`python -m llmqgym` is the command `llmqgym`."""

from llmqgym.cli.app import main

if __name__ == "__main__":
    main()
