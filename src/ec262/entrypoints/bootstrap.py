"""The composition root: the only module that knows both services and adapters.

Every function builds one role's objects with explicit constructors; whatever is passed in is used in place of the
default adapter. Imports are local so that a role loads only what it needs: a worker never imports the database driver.
"""

from __future__ import annotations
