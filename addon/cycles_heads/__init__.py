"""Pictures of synthetic heads by Cycles: a process of its own with bpy, told by files and lines what to draw.

``__main__.py`` is run as a file, by a Python that has bpy or by Blender; no other part of the add-on knows it.
"""
