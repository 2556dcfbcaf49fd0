"""`python -m deploy.healthcheck URL`: exit 0 when it answers 200. The image has no curl."""

import sys
import urllib.request

if __name__ == "__main__":
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=2) as answer:  # noqa: S310 - our own address
            sys.exit(0 if answer.status == 200 else 1)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
