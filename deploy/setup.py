"""Checks the Python, then installs the toolchain (toolchain.py). Any Python 3 can parse this file: keep it plain."""

import sys


def main() -> int:
    if sys.version_info < (3, 11):
        version = ".".join(str(part) for part in sys.version_info[:3])
        sys.stderr.write(
            "closeloop needs Python 3.11 or newer; this is %s (%s). "
            "Install it or run: make PYTHON=/path/to/python3.11\n" % (version, sys.executable)
        )
        return 1
    import toolchain

    return toolchain.main()


if __name__ == "__main__":
    sys.exit(main())
