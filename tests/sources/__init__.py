"""Sources that others keep: databases and their files, each with a real server where it has one."""
