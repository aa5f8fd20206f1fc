"""One module per project; each defines `project`, a `stages.project.Project`."""
