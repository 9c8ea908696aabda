package main

import (
	"context"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// stopping is for the readiness route, which answers 503 once it is set.
var stopping atomic.Bool

// lameDuck ends each connection with its next answer once the server is stopping.
func lameDuck(next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if stopping.Load() {
			response.Header().Set("Connection", "close")
		}
		next.ServeHTTP(response, request)
	})
}

// serveOn serves until SIGTERM, on for some time so that clients go elsewhere, and then closes.
func serveOn(server *http.Server, duration time.Duration) error {
	server.Handler = lameDuck(server.Handler)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() {
		<-told
		stopping.Store(true)
		time.Sleep(duration)
		// Not SetKeepAlivesEnabled(false) before: it closes idle connections at once, untold.
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return <-ended
}
