"""The definition of a job, its plan, and the reasons why its results may differ."""
