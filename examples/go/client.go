package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

type task struct {
	ID, Status string
	Receiver   struct {
		SubmissionID string `json:"submission_id"`
		Finished     bool
	}
}

func call(method, path, body, key string) []byte {
	request := must(http.NewRequest(method, os.Getenv("RECEIVER_URL")+path, strings.NewReader(body)))
	request.Header.Set("Authorization", "Bearer "+os.Getenv("RECEIVER_KEY"))
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer := must(http.DefaultClient.Do(request))
	defer answer.Body.Close()
	content := must(io.ReadAll(answer.Body))
	if answer.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s", answer.Status, content) // After 429 and 503, repeat it with the same key.
	}
	return content
}

func image(prompt, file string) {
	wanted := map[string]string{"model": "z-image-turbo", "prompt": prompt, "size": "1:1"}
	order := string(must(json.Marshal(wanted)))
	random := make([]byte, 16)
	must(rand.Read(random)) // Keep the key with your order: one key is one paid picture.
	key := fmt.Sprintf("%x", random)
	it := parse[task](call("POST", "/v1/images/generations?wait=50", order, key))
	for !it.Receiver.Finished {
		it = parse[task](call("GET", "/v1/tasks/"+it.Receiver.SubmissionID+"?wait=50", "", ""))
	}
	if it.Status != "completed" {
		log.Fatal(it.Status)
	}
	picture := call("GET", "/v1/tasks/"+it.ID+"/results/0?wait=50", "", "")
	must(0, os.WriteFile(file, picture, 0o644))
	fmt.Println(it.ID, http.DetectContentType(picture), len(picture))
}
