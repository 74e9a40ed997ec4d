"""queue-template: the tool for the life of a project that this template made. `queue-template --help`.

It needs git, and Python with the requirements of its own. cruft renders the template, git merges: so there is a true
three-way merge on every clone, and never a `.rej` file.
"""
