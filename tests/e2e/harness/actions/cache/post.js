const core = require("@actions/core");
const cache = require("@actions/cache");

async function main() {
  const key = core.getInput("key", { required: true });
  if (core.getState("hit") === key) {
    core.info(`Cache hit occurred on the primary key ${key}, not saving cache.`);
    return;
  }
  // As the real action does: an entry that exists or a missing path is a warning, not a failure.
  const id = await cache.saveCache(core.getMultilineInput("path", { required: true }), key);
  if (id !== -1) core.info(`Cache saved with key: ${key}`);
}

main().catch((error) => core.warning(error.message));
