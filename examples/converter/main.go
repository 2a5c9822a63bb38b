// Command converter is a conversion webhook for the kind that ../price-crd.yaml declares: v1 writes a price as one text,
// v2 as an amount and a currency. See docs/versions.md.
//
// It makes a certificate of its own, listens on a free port of this machine, and writes to the file it is given the merge
// patch that has a CustomResourceDefinition converted by it.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: converter PATCH-FILE")
	}
	log.Fatal(serve(os.Args[1]))
}

func serve(patchFile string) error {
	cert, bundle, err := certificate()
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"conversion": map[string]any{
		"strategy": "Webhook",
		"webhook": map[string]any{
			"conversionReviewVersions": []string{"v1"},
			"clientConfig":             map[string]any{"url": "https://" + l.Addr().String() + "/convert", "caBundle": bundle},
		},
	}}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(patchFile, patch, 0o644); err != nil {
		return err
	}
	http.HandleFunc("POST /convert", review)
	return http.Serve(l, nil)
}

// certificate is one for 127.0.0.1 that has signed itself, and it in PEM for those who are to trust it.
func certificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// object is a Price of either version: what is not ours to convert is passed on as it came.
type object map[string]any

type conversionReview struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID               string   `json:"uid"`
	DesiredAPIVersion string   `json:"desiredAPIVersion"`
	Objects           []object `json:"objects"`
}

type response struct {
	UID              string   `json:"uid"`
	ConvertedObjects []object `json:"convertedObjects"`
	Result           result   `json:"result"`
}

type result struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// review answers a ConversionReview: all objects are converted, in order, or the client is told why one cannot be.
func review(w http.ResponseWriter, r *http.Request) {
	var v conversionReview
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil || v.Request == nil {
		http.Error(w, fmt.Sprintf("no ConversionReview: %v", err), http.StatusBadRequest)
		return
	}
	v.Response = &response{UID: v.Request.UID, Result: result{Status: "Success"}}
	for _, o := range v.Request.Objects {
		if err := convert(o, v.Request.DesiredAPIVersion); err != nil {
			v.Response.Result = result{Status: "Failed", Message: err.Error()}
			break
		}
		v.Response.ConvertedObjects = append(v.Response.ConvertedObjects, o)
	}
	v.Request = nil
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Print(err)
	}
}

// convert changes o to another version. Nothing may be lost on the way there and back.
func convert(o object, to string) error {
	from := o["apiVersion"]
	o["apiVersion"] = to
	spec, ok := o["spec"].(map[string]any)
	if !ok || from == to {
		return nil
	}
	switch to {
	case "example.com/v1":
		spec["price"] = fmt.Sprintf("%v %v", spec["amount"], spec["currency"])
		delete(spec, "amount")
		delete(spec, "currency")
	case "example.com/v2":
		var amount int
		var currency string
		if _, err := fmt.Sscan(fmt.Sprint(spec["price"]), &amount, &currency); err != nil {
			return errors.New(`spec.price is not like "10 EUR"`)
		}
		delete(spec, "price")
		spec["amount"], spec["currency"] = amount, currency
	default:
		return fmt.Errorf("there is no version %s", to)
	}
	return nil
}
