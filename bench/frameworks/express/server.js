// The sample application's orders, in Express. SHUTDOWN says what SIGTERM does: nothing of ours
// (`none`), `close`, or `lame-duck`.
import { readFileSync } from 'node:fs'
import express from 'express'
import pg from 'pg'
import { lameDuck } from './lame-duck.js'

const env = process.env
const pool = new pg.Pool({
  host: env.DATABASE_HOST,
  port: Number(env.DATABASE_PORT),
  database: env.DATABASE_NAME,
  user: env.DATABASE_ROLE,
  password: env.DATABASE_PASSWORD ?? readFileSync(env.DATABASE_PASSWORD_FILE, 'utf8').trimEnd(),
  ssl: env.DATABASE_SSLMODE === 'disable' ? false : { rejectUnauthorized: true },
  max: 8
})
// Without this an idle connection that the server ends would end the process.
pool.on('error', (error) => console.error('a connection of the pool ended:', error.message))

const NEWEST = 'SELECT id, customer, item, quantity, created FROM orders ORDER BY id DESC LIMIT 20'
const ADD =
  'INSERT INTO orders (customer, item, quantity) VALUES ($1, $2, $3) ' +
  'RETURNING id, customer, item, quantity, created'

const app = express()
app.use(express.json())
let state = { stopping: false }

async function newest (request, response) {
  response.json((await pool.query(NEWEST)).rows)
}
app.get(['/', '/orders'], newest)
app.post('/orders', async (request, response) => {
  const { customer, item, quantity } = request.body
  response.status(201).json((await pool.query(ADD, [customer, item, quantity])).rows[0])
})
app.get('/whoami', async (request, response) => {
  const { rows } = await pool.query('SELECT session_user AS role')
  response.json({ ...rows[0], slot: env.SLOT, pod: env.HOSTNAME })
})
app.get('/healthz', (request, response) => response.json({ alive: true }))
app.get('/readyz', async (request, response) => {
  if (state.stopping) return response.status(503).json({ ready: false, reason: 'stopping' })
  await pool.query('SELECT 1')
  response.json({ ready: true })
})
// Express takes a handler for one of errors by its four parameters.
app.use((error, request, response, next) => {
  console.error(request.method, request.path, error)
  response.status(503).json({ error: 'the database is not available' })
})

const server = app.listen(Number(env.PORT), '127.0.0.1', (error) => {
  if (error) throw error
})
const end = () => pool.end()
if (env.SHUTDOWN === 'close') process.once('SIGTERM', () => server.close(end))
if (env.SHUTDOWN === 'lame-duck') state = lameDuck(server, Number(env.LAME_DUCK_SECONDS), end)
