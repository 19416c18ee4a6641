// A client of evolink-receiver: go run . image PROMPT FILE | follow CURSOR_FILE | hooks PORT
// RECEIVER_URL, RECEIVER_KEY and, for webhooks, WEBHOOK_SECRET come from the environment.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

func follow(file string) {
	after, err := os.ReadFile(file)
	if err != nil {
		after = []byte("0")
	}
	for caughtUp := false; !caughtUp; {
		page := parse[struct {
			Data []struct {
				ID, Type string
				TaskID   string `json:"task_id"`
			}
			Next     string
			CaughtUp bool `json:"caught_up"`
		}](call("GET", "/v1/events?limit=100&after="+string(after), "", ""))
		for _, event := range page.Data {
			fmt.Println(event.ID, event.Type, event.TaskID) // Handle it here.
		}
		after, caughtUp = []byte(page.Next), page.CaughtUp
		must(0, os.WriteFile(file, after, 0o644)) // Only now: what was not handled comes again.
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func parse[T any](content []byte) (value T) {
	must(0, json.Unmarshal(content, &value))
	return value
}

func main() {
	switch command := os.Args[1]; command {
	case "image":
		image(os.Args[2], os.Args[3])
	case "follow":
		follow(os.Args[2])
	case "hooks":
		log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], http.HandlerFunc(hook)))
	}
}
