// Reads {"tables": {name: {column: type}}, "queries": [text]} from standard input and writes, for each
// query, what Kusto's language service says: {"diagnostics": [{code, severity, message, text}], "columns": [name]}.
// The first argument is the folder of the npm package @kusto/language-service-next.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const folder = process.argv[2];
for (const name of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, name), 'utf8'), { filename: name });
}
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const items = (list) => Array.from({ length: list.Count }, (_, index) => list.getItem(index));

const { tables, queries } = JSON.parse(fs.readFileSync(0, 'utf8'));
const symbols = Object.entries(tables).map(([name, columns]) => {
  const schema = Object.entries(columns).map(([column, type]) => `${column}: ${type}`);
  return new Symbols.TableSymbol.$ctor7(name, `(${schema.join(', ')})`, null);
});
const state = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1('db', symbols, false));

const answers = queries.map((query) => {
  const code = KustoCode.ParseAndAnalyze(query, state);
  const diagnostics = items(code.GetDiagnostics()).map((found) => ({
    code: found.Code,
    severity: found.Severity,
    message: found.Message,
    text: query.substr(found.Start, found.Length),
  }));
  const columns = code.ResultType && code.ResultType.Columns;
  return { diagnostics, columns: columns ? items(columns).map((column) => column.Name) : [] };
});
process.stdout.write(JSON.stringify(answers));
