"""`python -m fhirserver` is the command line."""

from fhirserver.cli import main

if __name__ == "__main__":
    main()
