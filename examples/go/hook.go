package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// isOurs reports whether the receiver signed body, which is the bytes as they arrived.
func isOurs(headers http.Header, body []byte) bool {
	secret := strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_")
	key, err := base64.StdEncoding.DecodeString(secret)
	seconds, wrong := strconv.ParseInt(headers.Get("webhook-timestamp"), 10, 64)
	if err != nil || wrong != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", headers.Get("webhook-id"), seconds, body)
	wanted := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, one := range strings.Split(headers.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(one), []byte(wanted)) {
			return true
		}
	}
	return false
}

func hook(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(io.LimitReader(request.Body, 10<<20))
	if err != nil || !isOurs(request.Header, body) {
		answer.WriteHeader(http.StatusUnauthorized)
		fmt.Println(request.Header.Get("webhook-id"), "refused")
		return
	}
	answer.WriteHeader(http.StatusNoContent)
	fmt.Println(request.Header.Get("webhook-id"), parse[task](body).ID)
}
