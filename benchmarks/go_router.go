// What a router is on Go's standard library, tuned: net/http/httputil with as many idle
// connections as are needed, buffers that are used again, and every write flushed.
//
// It reads the body, finds the model, and relays the response as it comes. No limits, no timeouts,
// no authentication.
//
// usage: go_router PORT MODEL=URL...
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
)

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte { return *b.pool.Get().(*[]byte) }

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

func main() {
	transport := &http.Transport{
		MaxIdleConnsPerHost: 4096,
		DisableCompression:  true,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}
	pool := &buffers{sync.Pool{New: func() any {
		buffer := make([]byte, 32<<10)
		return &buffer
	}}}
	proxies := map[string]*httputil.ReverseProxy{}
	for _, argument := range os.Args[2:] {
		name, address, _ := strings.Cut(argument, "=")
		target, err := url.Parse(address)
		if err != nil {
			log.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.Transport = transport
		proxy.BufferPool = pool
		proxy.FlushInterval = -1
		proxies[name] = proxy
	}
	relay := func(response http.ResponseWriter, request *http.Request) {
		var read bytes.Buffer
		if request.ContentLength > 0 {
			read.Grow(int(request.ContentLength) + bytes.MinRead)
		}
		if _, err := read.ReadFrom(request.Body); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		var named struct{ Model string }
		if err := json.Unmarshal(read.Bytes(), &named); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		proxy, known := proxies[named.Model]
		if !known {
			http.Error(response, "no such model", http.StatusNotFound)
			return
		}
		request.Body = io.NopCloser(&read)
		proxy.ServeHTTP(response, request)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(relay)))
}
