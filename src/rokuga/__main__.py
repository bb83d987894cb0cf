"""``python -m rokuga``. Processes forked for recordings import their parent's main module again: it stays this small."""


def main() -> None:
    from rokuga.cli import app

    app()


if __name__ == "__main__":
    main()
