// Serves on for some seconds after SIGTERM: each answer ends its connection, so that clients go
// elsewhere before the server closes. Works with whatever listens on the http.Server: Express, Koa,
// Fastify, NestJS.
export function lameDuck(server, seconds, closed) {
  const state = { stopping: false } // for the readiness route, which answers 503 from now on
  server.prependListener('request', (request, response) => {
    if (state.stopping) response.setHeader('Connection', 'close')
  })
  process.once('SIGTERM', () => {
    state.stopping = true
    setTimeout(() => server.close(closed), 1000 * seconds)
  })
  return state
}
