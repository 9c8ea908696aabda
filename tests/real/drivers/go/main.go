// Logs in with each value that comes as a line of base64 on standard input, by pgx, and says of each who it is there.
//
// pgx parses URLs and keywords; of a JSON object the parts are put together as an application does. A line of the answer is
// `ok` with role, application, search_path and TLS, or `error` with the message, in base64.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const asked = `SELECT session_user::text, current_setting('application_name'), current_setting('search_path'),
  (SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid())`

type parts struct {
	Username, Password, Host, DBName, SSLMode, SSLRootCert string
	Port                                                   uint16
}

func config(value string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(value, "{") {
		return pgx.ParseConfig(value)
	}
	var given parts
	if err := json.Unmarshal([]byte(value), &given); err != nil {
		return nil, err
	}
	where := fmt.Sprintf("host='%s' port=%d sslmode=%s", given.Host, given.Port, given.SSLMode)
	if given.SSLRootCert != "" {
		where += fmt.Sprintf(" sslrootcert='%s'", given.SSLRootCert)
	}
	found, err := pgx.ParseConfig(where)
	if err != nil {
		return nil, err
	}
	found.User, found.Password, found.Database = given.Username, given.Password, given.DBName
	return found, nil
}

func login(value string) ([]string, error) {
	found, err := config(value)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection, err := pgx.ConnectConfig(ctx, found)
	if err != nil {
		return nil, err
	}
	defer connection.Close(ctx)
	words := make([]string, 4)
	err = connection.QueryRow(ctx, asked).Scan(&words[0], &words[1], &words[2], &words[3])
	return words, err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		value, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			panic(err)
		}
		result := "ok"
		words, err := login(string(value))
		if err != nil {
			result, words = "error", []string{err.Error()}
		}
		for _, word := range words {
			result += "\t" + base64.StdEncoding.EncodeToString([]byte(word))
		}
		fmt.Println(result)
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
}
