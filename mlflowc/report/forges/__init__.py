"""Comments and commit statuses at GitHub, GitLab and Bitbucket, over their published APIs.

`place` says where a pull request is, `http` talks, one module a service knows its paths and forms, `comment`
keeps one comment a report and one commit status a gate. Only what posts imports this.
"""
