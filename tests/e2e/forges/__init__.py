"""Servers that stand in for GitHub, GitLab and Bitbucket, held against the descriptions of their APIs.

A request goes through three: `front` (writes it down, and has the bad minutes that a test asks for), a
validating proxy with the service's description (an answer or a request that does not fit is an error), and a
small server with a memory. So neither the client nor the server can drift from the description.

Where the descriptions come from:

- GitHub: npm `@octokit/openapi` 23.0.2 (`api.github.com.json`, GitHub's own), cut to the paths in `tools.py`.
- GitLab: `gitlab.yaml`, written by hand after GitLab's REST documents (Notes, Commits, Project uploads,
  Users; 18.x), because the OpenAPI file that GitLab publishes lacks these paths.
- Bitbucket: `bitbucket.yaml`, written by hand after Bitbucket Cloud's published OpenAPI as npm
  `@coderabbitai/bitbucket` 1.1.4 carries it (types only). There every object has to name its `type`, in
  requests too; the service takes comments without, as its documents show, and so does this one.
"""
