// Program shop is the sample application that previews show: a page with its commit and colour,
// and every way to go wrong that a test can ask for.
package main

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// version is what tells one deployment of the application from another.
type version struct {
	SHA    string `json:"sha"`
	Colour string `json:"colour"`
	Number string `json:"number"`
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Shop</title></head>
<body style="border-top: 1rem solid {{.Colour}}; font-family: sans-serif">
<h1>Shop</h1>
<dl>
<dt>Commit</dt><dd id="sha">{{.SHA}}</dd>
<dt>Colour</dt><dd id="colour">{{.Colour}}</dd>
<dt>Pull request</dt><dd id="number">{{.Number}}</dd>
</dl>
</body>
</html>
`))

func handler(v version, healthy bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := page.Execute(w, v); err != nil {
			log.Printf("page: %v", err)
		}
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			log.Printf("version: %v", err)
		}
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !healthy {
			http.Error(w, "unhealthy", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /echo", echo)
	mux.HandleFunc("POST /count", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, n)
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil || n < 0 {
			http.Error(w, "n is not a number of bytes", http.StatusBadRequest)
			return
		}
		// Whoever went away does not want the rest.
		_, _ = io.CopyN(w, endless{}, int64(n))
	})
	return logged(mux)
}

// endless is as many letters as anybody wants.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// echo begins a WebSocket as RFC 6455 has it, and sends back what comes, byte by byte: what is
// shown is that a proxy lets it through, so frames do not matter.
func echo(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.Error(w, "not a WebSocket", http.StatusUpgradeRequired)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		log.Printf("echo: %v", err)
		return
	}
	defer connection.Close()
	fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	if _, err := io.Copy(connection, buffered); err != nil {
		log.Printf("echo: %v", err)
	}
}

// logged writes one line per request. The path is quoted: it is the client's text.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		log.Printf("%s %q %d %s", r.Method, r.URL.Path, recorder.status, time.Since(started).Round(time.Microsecond))
	})
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) Unwrap() http.ResponseWriter {
	return r.ResponseWriter
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func number(name string) int {
	value, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return 0
	}
	return value
}

func main() {
	log.SetOutput(os.Stdout)
	// The runtime gives the process with number 1 no default answer to these.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		log.Printf("ends: %v", <-ended)
		os.Exit(0)
	}()

	v := version{SHA: os.Getenv("SHA"), Colour: os.Getenv("COLOUR"), Number: os.Getenv("NUMBER")}
	log.Printf("shop starts: commit %q, colour %q", v.SHA, v.Colour)
	for i := range number("LOG_LINES") {
		log.Printf("line %d: the quick brown fox jumps over the lazy dog", i+1)
	}
	if os.Getenv("CRASH") == "true" {
		log.Fatal("fatal: cannot connect to database shop-db:5432: connection refused")
	}
	time.Sleep(time.Duration(number("HANG_SECONDS")) * time.Second)

	server := &http.Server{
		Addr:              ":8080",
		Handler:           handler(v, os.Getenv("HEALTHY") != "false"),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Printf("listens on %s", server.Addr)
	log.Fatal(server.ListenAndServe())
}
