"""``python -m rokuga.render FOLDER``."""

from rokuga.render.main import main

if __name__ == "__main__":
    main()
