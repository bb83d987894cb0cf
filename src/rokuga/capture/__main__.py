"""``python -m rokuga.capture FOLDER TASKID N``: one capture process by hand, logging to stderr."""

import asyncio
import sys
from pathlib import Path

from rokuga.capture.main import run
from rokuga.folders import Generation

if __name__ == "__main__":
    folder, task_id, number = sys.argv[1:]
    asyncio.run(run(Generation(Path(folder)), task_id, int(number)))
