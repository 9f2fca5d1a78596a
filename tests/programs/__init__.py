"""Small scripts in PyG's own style, as users write them, each with two lines of this library and otherwise none.

The runner (`tests.programs.running`) gives a script ``fg`` and ``dataset`` as globals and runs the file twice: as plain
PyG, where ``fg.open`` returns what it was given and ``fg.prepare`` does nothing, and on ranks. What the script leaves
behind under the names ``losses`` (list of floats or scalars), ``model`` (or ``models``) and ``out`` is compared.
"""
