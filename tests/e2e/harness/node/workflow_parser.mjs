// GitHub's own validators: the parser of workflow files (schema and expressions) and the language service that
// the editor extension runs. Prints one line a finding; exits 1 when there is any.
import fs from "node:fs";
import * as parser from "@actions/workflow-parser";
import { validate } from "@actions/languageservice";
import { TextDocument } from "vscode-languageserver-textdocument";

const TRY_CONVERSION = 1; // of the enum ErrorPolicy, which is not exported
const SEVERITY = { 1: "error", 2: "warning", 3: "information", 4: "hint" };
let findings = 0;
const report = (file, text) => {
  findings += 1;
  console.log(`${file}: ${text.split("\n")[0]}`);
};

for (const file of process.argv.slice(2)) {
  const text = fs.readFileSync(file, "utf8");
  const { context, value } = parser.parseWorkflow({ name: file, content: text }, new parser.NoOperationTraceWriter());
  if (value) {
    await parser.convertWorkflowTemplate(context, value, undefined, { errorPolicy: TRY_CONVERSION });
  }
  for (const error of context.errors.getErrors()) report(file, `parser: ${error.message}`);
  const document = TextDocument.create(`file:///${file}`, "yaml", 1, text);
  for (const { severity, range, message } of await validate(document, {})) {
    report(file, `${range.start.line + 1}:${range.start.character + 1} ${SEVERITY[severity ?? 1]}: ${message}`);
  }
}
process.exit(findings ? 1 : 0);
