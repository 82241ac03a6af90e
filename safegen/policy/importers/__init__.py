"""Policy files of other tools, converted to specs."""
