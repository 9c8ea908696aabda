// The sample application's orders, on net/http. SHUTDOWN says what SIGTERM does: nothing of ours
// (`none`), `shutdown`, `keep-alives-off`, or `lame-duck`.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	newest = "SELECT id, customer, item, quantity, created FROM orders ORDER BY id DESC LIMIT 20"
	add    = "INSERT INTO orders (customer, item, quantity) VALUES ($1, $2, $3) " +
		"RETURNING id, customer, item, quantity, created"
)

type order struct {
	ID       int64     `json:"id"`
	Customer string    `json:"customer"`
	Item     string    `json:"item"`
	Quantity int       `json:"quantity"`
	Created  time.Time `json:"created"`
}

func main() {
	pool, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: routes(pool)}
	if err := serve(server); err != nil {
		log.Fatal(err)
	}
}

func serve(server *http.Server) error {
	switch shape := os.Getenv("SHUTDOWN"); shape {
	case "none":
		return server.ListenAndServe()
	case "lame-duck":
		seconds, err := strconv.ParseFloat(os.Getenv("LAME_DUCK_SECONDS"), 64)
		if err != nil {
			return err
		}
		return serveOn(server, time.Duration(seconds*float64(time.Second)))
	default: // as the documentation of Shutdown has it
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() {
			<-told
			if shape == "keep-alives-off" {
				server.SetKeepAlivesEnabled(false)
				time.Sleep(3 * time.Second)
			}
			ended <- server.Shutdown(context.Background())
		}()
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			return err
		}
		return <-ended
	}
}

func connect() (*pgxpool.Pool, error) {
	password, err := secret()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig("sslmode=" + os.Getenv("DATABASE_SSLMODE"))
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(os.Getenv("DATABASE_PORT"), 10, 16)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 8
	to := config.ConnConfig
	to.Host, to.Port, to.Database = os.Getenv("DATABASE_HOST"), uint16(port), os.Getenv("DATABASE_NAME")
	to.User, to.Password = os.Getenv("DATABASE_ROLE"), password
	return pgxpool.NewWithConfig(context.Background(), config)
}

func secret() (string, error) {
	if password := os.Getenv("DATABASE_PASSWORD"); password != "" {
		return password, nil
	}
	content, err := os.ReadFile(os.Getenv("DATABASE_PASSWORD_FILE"))
	return strings.TrimSuffix(string(content), "\n"), err
}

func routes(pool *pgxpool.Pool) http.Handler {
	mux := http.NewServeMux()
	list := func(response http.ResponseWriter, request *http.Request) {
		rows, err := pool.Query(request.Context(), newest)
		if err != nil {
			unavailable(response, request, err)
			return
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByName[order])
		answer(response, request, http.StatusOK, found, err)
	}
	mux.HandleFunc("GET /{$}", list)
	mux.HandleFunc("GET /orders", list)
	mux.HandleFunc("POST /orders", func(response http.ResponseWriter, request *http.Request) {
		var given order
		if err := json.NewDecoder(request.Body).Decode(&given); err != nil {
			http.Error(response, "the body is no JSON", http.StatusBadRequest)
			return
		}
		rows, err := pool.Query(request.Context(), add, given.Customer, given.Item, given.Quantity)
		if err != nil {
			unavailable(response, request, err)
			return
		}
		made, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[order])
		answer(response, request, http.StatusCreated, made, err)
	})
	mux.HandleFunc("GET /whoami", func(response http.ResponseWriter, request *http.Request) {
		found := map[string]string{"slot": os.Getenv("SLOT"), "pod": os.Getenv("HOSTNAME")}
		var role string
		err := pool.QueryRow(request.Context(), "SELECT session_user").Scan(&role)
		found["role"] = role
		answer(response, request, http.StatusOK, found, err)
	})
	mux.HandleFunc("GET /healthz", func(response http.ResponseWriter, request *http.Request) {
		answer(response, request, http.StatusOK, map[string]bool{"alive": true}, nil)
	})
	mux.HandleFunc("GET /readyz", func(response http.ResponseWriter, request *http.Request) {
		if stopping.Load() {
			http.Error(response, "stopping", http.StatusServiceUnavailable)
			return
		}
		err := pool.Ping(request.Context())
		answer(response, request, http.StatusOK, map[string]bool{"ready": true}, err)
	})
	return mux
}

func answer(response http.ResponseWriter, request *http.Request, status int, found any, err error) {
	if err != nil {
		unavailable(response, request, err)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(status)
	if err := json.NewEncoder(response).Encode(found); err != nil {
		log.Print(request.URL.Path, ": ", err)
	}
}

func unavailable(response http.ResponseWriter, request *http.Request, err error) {
	log.Print(request.URL.Path, ": ", err)
	http.Error(response, "the database is not available", http.StatusServiceUnavailable)
}
