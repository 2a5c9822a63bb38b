// Command app is what the tests run in containers: it does what its first argument says.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"serve"}
	}
	switch args[0] {
	case "serve": // print, answer HTTP on 8080, end on SIGTERM
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println("serving as", os.Getenv("NAME"))
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello from", os.Getenv("NAME")) })
		http.HandleFunc("/healthy", func(w http.ResponseWriter, r *http.Request) {
			if _, err := os.Stat("/data/sick"); err == nil {
				http.Error(w, "sick", http.StatusInternalServerError)
			}
		})
		go func() {
			if err := http.ListenAndServe(":8080", nil); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}()
		<-term
		fmt.Println("ending")
	case "exit": // print, leave a message, end with a code
		fmt.Println("exiting", args[1])
		if err := os.WriteFile("/dev/termination-log", []byte("message of "+args[1]), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		code, err := strconv.Atoi(args[1])
		if err != nil {
			code = 99
		}
		os.Exit(code)
	case "write": // write a file
		if err := os.WriteFile(args[1], []byte(args[2]), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "cat": // print files
		for _, p := range args[1:] {
			b, err := os.ReadFile(p)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Stdout.Write(b)
		}
	case "id":
		gs, _ := os.Getgroups()
		fmt.Println(os.Getuid(), os.Getgid(), gs)
	case "env":
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
	case "echo": // copy input to output
		io.Copy(os.Stdout, os.Stdin)
	case "sleep":
		n, _ := strconv.Atoi(args[1])
		time.Sleep(time.Duration(n) * time.Second)
	}
}
