const path = require("node:path");
const core = require("@actions/core");
const { DefaultArtifactClient } = require("@actions/artifact");

function matcher(pattern) {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  return new RegExp(`^${escaped}$`);
}

async function main() {
  const client = new DefaultArtifactClient();
  const name = core.getInput("name");
  const pattern = core.getInput("pattern");
  const target = path.resolve(process.env.GITHUB_WORKSPACE, core.getInput("path") || ".");
  const flat = name !== "" || core.getInput("merge-multiple") === "true";
  let { artifacts } = await client.listArtifacts({ latest: true });
  if (name) artifacts = artifacts.filter((artifact) => artifact.name === name);
  else if (pattern) artifacts = artifacts.filter((artifact) => matcher(pattern).test(artifact.name));
  if (name && artifacts.length === 0) throw new Error(`Unable to download artifact(s): Artifact not found for name: ${name}`);
  for (const artifact of artifacts) {
    await client.downloadArtifact(artifact.id, { path: flat ? target : path.join(target, artifact.name) });
    core.info(`Artifact ${artifact.name} has been downloaded`);
  }
  core.info(`Total of ${artifacts.length} artifact(s) downloaded`);
  core.setOutput("download-path", target);
}

main().catch((error) => core.setFailed(error));
