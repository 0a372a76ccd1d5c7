"""Where data comes from: one module a kind of source (`url`, `dvc`, `git`, …), found by `table`."""
