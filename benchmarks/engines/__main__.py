"""The service with one of the planted engines: `python -m benchmarks.engines fixed | leaky | swapped`.

Settings come from the environment, as for `python -m app serve`.
"""

import argparse

from app.__main__ import bind, plan
from app.processes import supervisor
from app.settings import load_settings


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines")
    parser.add_argument("engine", choices=["fixed", "leaky", "swapped"])
    engine = f"benchmarks.engines.{parser.parse_args().engine}"
    settings = load_settings()
    supervisor.run(settings, plan(settings), bind(settings.host, settings.port), engine=engine)


if __name__ == "__main__":
    main()
