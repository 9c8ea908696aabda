// Logs in with each value that comes as a line of base64 on standard input, by node-postgres, and says of each who it is there.
// `pg` gets the value as it stands: a URL, or a JSON object as its own configuration. The first argument is the folder that has
// the package. A line of the answer is `ok` with role, application, search_path and TLS, or `error` with the message, in base64.
'use strict';
const path = require('path');
const readline = require('readline');

const { Client } = require(path.join(process.argv[2], 'node_modules', 'pg'));
const ASKED = `SELECT session_user::text AS role, current_setting('application_name') AS application,
  current_setting('search_path') AS search_path,
  (SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls`;

async function answer(value) {
  try {
    const client = new Client(value.startsWith('{') ? JSON.parse(value) : { connectionString: value });
    await client.connect();
    const { rows } = await client.query(ASKED);
    await client.end();
    return ['ok', rows[0].role, rows[0].application, rows[0].search_path, rows[0].tls];
  } catch (error) {
    return ['error', String(error.message || error)];
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [result, ...words] = await answer(Buffer.from(line, 'base64').toString('utf8'));
    console.log([result, ...words.map((word) => Buffer.from(word, 'utf8').toString('base64'))].join('\t'));
  }
})();
