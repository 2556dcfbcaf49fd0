// The same job in Go: net/http and franz-go. Verify the signature over the raw body, check the fields, publish an event
// with ids that repeat (acks from all, 2 ms of linger), then answer 202.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type survey struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

type customer struct {
	ID    string `json:"id,omitempty"`
	Email string `json:"email,omitempty"`
}

type feedback struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	OccurredAt time.Time `json:"occurred_at"`
	Channel    string    `json:"channel"`
	Touchpoint string    `json:"touchpoint"`
	Department string    `json:"department"`
	Product    string    `json:"product"`
	Survey     survey    `json:"survey"`
	Metric     string    `json:"metric"`
	Score      float64   `json:"score"`
	Customer   customer  `json:"customer"`
	Text       string    `json:"text"`
	Language   string    `json:"language"`
	FeedbackID string    `json:"feedback_id"`
	CustomerID string    `json:"customer_id"`
	ReceivedAt time.Time `json:"received_at"`
}

func name(parts string) string {
	sum := sha1.Sum([]byte(parts))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func main() {
	secret := []byte(os.Getenv("BENCH_SECRET"))
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BENCH_KAFKA")),
		kgo.DefaultProduceTopic("feedback.received.v1"),
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	)
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/v1/sources/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256*1024))
		if err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		given, err := hex.DecodeString(r.Header.Get("X-Signature"))
		if err != nil || !hmac.Equal(mac.Sum(nil), given) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var one feedback
		if err := json.Unmarshal(body, &one); err != nil || one.ID == "" || one.Score < 0 || one.Score > 10 {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		one.FeedbackID, one.CustomerID = name("feedback/"+one.ID), name("customer/"+one.Customer.ID)
		one.ReceivedAt = time.Now().UTC()
		value, _ := json.Marshal(one)
		record := &kgo.Record{
			Key:   []byte("bench/" + one.CustomerID),
			Value: value,
			Headers: []kgo.RecordHeader{
				{Key: "content-type", Value: []byte("application/json")},
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_id", Value: []byte(name("event/" + one.ID + "/0"))},
				{Key: "ce_type", Value: []byte("dev.closeloop.feedback.received.v1")},
				{Key: "ce_source", Value: []byte("bench")},
				{Key: "ce_time", Value: []byte(one.ReceivedAt.Format(time.RFC3339Nano))},
				{Key: "ce_workspace", Value: []byte("bench")},
				{Key: "ce_correlationid", Value: []byte(one.FeedbackID)},
			},
		}
		if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"accepted":1}`))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("BENCH_PORT"))
	if err != nil {
		panic(err)
	}
	panic(http.Serve(listener, nil))
}
