"""One module per project; each defines `project`, a `stages.projects._base.Project`."""
