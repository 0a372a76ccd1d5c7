const core = require("@actions/core");
const cache = require("@actions/cache");

async function main() {
  const key = core.getInput("key", { required: true });
  const lookupOnly = core.getInput("lookup-only") === "true";
  const paths = core.getMultilineInput("path", { required: true });
  const hit = await cache.restoreCache(paths, key, core.getMultilineInput("restore-keys"), { lookupOnly });
  core.setOutput("cache-primary-key", key);
  core.saveState("hit", hit ?? "");
  if (hit) {
    core.setOutput("cache-matched-key", hit);
    core.setOutput("cache-hit", String(hit === key));
    core.info(lookupOnly ? `Cache found and can be restored from key: ${hit}` : `Cache restored from key: ${hit}`);
  } else if (core.getInput("fail-on-cache-miss") === "true") {
    throw new Error(`Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: ${key}`);
  } else {
    core.info(`Cache not found for input keys: ${key}`);
  }
}

main().catch((error) => core.setFailed(error));
