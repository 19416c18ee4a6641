// Debian's golang-github-donovanhide-eventsource-dev.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/donovanhide/eventsource"
)

func main() {
	stream, err := eventsource.Subscribe(os.Args[1], "")
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for {
		select {
		case event := <-stream.Events:
			var data struct {
				ID   string
				Task struct{ Status string }
			}
			if err := json.Unmarshal([]byte(event.Data()), &data); err != nil {
				fmt.Println("unexpected", event.Data())
				continue
			}
			fmt.Println(data.ID, event.Id(), event.Event(), data.Task.Status)
		case err := <-stream.Errors:
			fmt.Println("error", err)
		}
	}
}
