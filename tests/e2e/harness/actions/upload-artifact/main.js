const fs = require("node:fs");
const path = require("node:path");
const core = require("@actions/core");
const glob = require("@actions/glob");
const { DefaultArtifactClient } = require("@actions/artifact");

function root(searchPaths) {
  if (searchPaths.length === 1) {
    const only = searchPaths[0];
    return fs.existsSync(only) && fs.statSync(only).isFile() ? path.dirname(only) : only;
  }
  return searchPaths.reduce((common, next) => {
    while (!`${next}/`.startsWith(`${common}/`)) common = path.dirname(common);
    return common;
  });
}

async function main() {
  const patterns = core.getMultilineInput("path", { required: true });
  const excludeHiddenFiles = core.getInput("include-hidden-files") !== "true";
  const globber = await glob.create(patterns.join("\n"), { excludeHiddenFiles });
  const files = (await globber.glob()).filter((file) => fs.statSync(file).isFile());
  if (files.length === 0) {
    const message = `No files were found with the provided path: ${patterns.join(" ")}. No artifacts will be uploaded.`;
    const say = { error: core.setFailed, warn: core.warning, ignore: core.info }[core.getInput("if-no-files-found")];
    say(message);
    return;
  }
  const client = new DefaultArtifactClient();
  const name = core.getInput("name");
  // `overwrite` needs nothing here: act's server cannot delete, and replaces what has the same name.
  const { id, size } = await client.uploadArtifact(name, files, root(globber.getSearchPaths()), {
    compressionLevel: Number(core.getInput("compression-level")),
  });
  core.setOutput("artifact-id", id);
  core.info(`Artifact ${name} has been uploaded: ${files.length} files, ${size} bytes`);
}

main().catch((error) => core.setFailed(error));
