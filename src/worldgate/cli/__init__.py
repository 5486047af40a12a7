"""The program ``worldgate``: a thin shell over the library, one file a verb, each imported when it is called.

Nothing else stands here: a verb's module (``list``) becomes an attribute of this package and would hide a builtin.
"""

from worldgate.cli._main import main

__all__ = ["main"]
