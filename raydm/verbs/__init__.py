"""The verbs of the command line, each a short program over the layers below."""
