// SPDX-License-Identifier: LGPL-2.1-or-later

// The rival of the benchmarks: two worker pools as a Go service would write them for itself, in one
// process, without anything between the caller and the worker. Jobs echo a payload of 16 bytes; one
// worker; every result is collected and checked, as the D-Bus client of the comparison does.
//
//	priority pool   container/heap under a mutex, a condition variable, results by channel
//	channel pool    a buffered channel of jobs and one of results, no priorities
//
// How such a pool is driven matters about as much as how it is built, so several shapes are run:
// one result channel per job or a shared one, one producer or two, a window of blocks or all jobs at
// once. Each prints a line `NAME JOBS_PER_SECOND jobs/s`, and at the end `go-priority` and
// `go-channel` repeat the best of each pool: that one is what Sluice has to beat.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	payloadSize = 16
	priorities  = 10
)

// Payload travels by value: nothing is allocated for it and the collector has nothing to look at,
// which is as cheap as a payload in Go can be.
type Payload [payloadSize]byte

// Job is what the priority pool runs; the channel pool gets by with the payload.
type Job struct {
	Payload  Payload
	ResultCh chan JobResult
}

// JobResult is the answer to a Job.
type JobResult struct {
	Data Payload
	Err  error
}

// load says what one measurement submits, and how.
type load struct {
	jobs     int
	block    int // jobs submitted before results are looked at
	inFlight int // blocks
}

// payload holds the number of the job twice, so that a mix-up shows.
func payload(i int) (p Payload) {
	binary.LittleEndian.PutUint64(p[:], uint64(i))
	binary.LittleEndian.PutUint64(p[8:], ^uint64(i))
	return p
}

// number reads a result back.
func number(result JobResult) int {
	i := binary.LittleEndian.Uint64(result.Data[:])
	if result.Err != nil || binary.LittleEndian.Uint64(result.Data[8:]) != ^i {
		fail("a result is not what was submitted")
	}
	return int(i)
}

// produce submits the jobs of one producer block by block, and collects a block of results whenever
// as many blocks as allowed are under way: the same pattern as a D-Bus client that keeps several
// calls in flight. submit must queue job i; collect must return the number of one finished job
// (of job i, where each has its own channel).
func produce(l load, submit func(i int), collect func(i int) int) {
	collected, sum := 0, 0
	drain := func(until int) {
		for ; collected < until; collected++ {
			sum += collect(collected)
		}
	}
	for i := 0; i < l.jobs; i++ {
		if i%l.block == 0 {
			drain(i - (l.inFlight-1)*l.block)
		}
		submit(i)
	}
	drain(l.jobs)
	if sum != l.jobs*(l.jobs-1)/2 {
		fail("results are missing or came twice")
	}
}

// priorityOwn gives every job a result channel of its own.
func priorityOwn(l load, producers int) {
	pool := NewPriorityPool(1)
	defer pool.Close()
	inParallel(l, producers, func(l load) {
		channels := make([]chan JobResult, l.jobs)
		produce(l, func(i int) {
			channels[i] = make(chan JobResult, 1)
			pool.Submit(Job{payload(i), channels[i]}, i/l.block%priorities)
		}, func(i int) int {
			n := number(<-channels[i])
			channels[i] = nil
			return n
		})
	})
}

// priorityShared gives all jobs of a producer one result channel with room for all that is under way.
func priorityShared(l load, producers int) {
	pool := NewPriorityPool(1)
	defer pool.Close()
	inParallel(l, producers, func(l load) {
		results := make(chan JobResult, l.block*l.inFlight)
		produce(l, func(i int) {
			pool.Submit(Job{payload(i), results}, i/l.block%priorities)
		}, func(int) int {
			return number(<-results)
		})
	})
}

// channelWindow drives the channel pool as the priority pools are driven.
func channelWindow(l load, _ int) {
	pool := NewChannelPool(1, l.block*l.inFlight)
	defer pool.Close()
	produce(l, func(i int) {
		pool.Jobs <- payload(i)
	}, func(int) int {
		return number(JobResult{Data: <-pool.Results})
	})
}

// channelStream has submitting and collecting in two goroutines, as in the textbook.
func channelStream(l load, _ int) {
	pool := NewChannelPool(1, l.block*l.inFlight)
	defer pool.Close()
	go func() {
		for i := 0; i < l.jobs; i++ {
			pool.Jobs <- payload(i)
		}
	}()
	sum := 0
	for i := 0; i < l.jobs; i++ {
		sum += number(JobResult{Data: <-pool.Results})
	}
	if sum != l.jobs*(l.jobs-1)/2 {
		fail("results are missing or came twice")
	}
}

// inParallel splits the load among the producers and waits for them.
func inParallel(l load, producers int, produce func(load)) {
	var wg sync.WaitGroup
	l.jobs /= producers
	for p := 0; p < producers; p++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			produce(l)
		}()
	}
	wg.Wait()
}

// shape is one way to drive one of the pools.
type shape struct {
	pool, name string
	producers  int
	allAtOnce  bool // submits everything before it collects
	run        func(l load, producers int)
}

var shapes = []shape{
	{"go-priority", "own-channel", 1, false, priorityOwn},
	{"go-priority", "own-channel-2-producers", 2, false, priorityOwn},
	{"go-priority", "own-channel-all-at-once", 1, true, priorityOwn},
	{"go-priority", "shared-channel", 1, false, priorityShared},
	{"go-priority", "shared-channel-2-producers", 2, false, priorityShared},
	{"go-priority", "shared-channel-all-at-once", 1, true, priorityShared},
	{"go-channel", "window", 1, false, channelWindow},
	{"go-channel", "stream", 1, false, channelStream},
	{"go-channel", "all-at-once", 1, true, channelWindow},
}

// measure returns jobs per second of one shape. The collector runs before, not because of what ran
// before.
func (s shape) measure(l load) float64 {
	if s.allAtOnce {
		l.block, l.inFlight = l.jobs, 1
	}
	runtime.GC()
	begin := time.Now()
	s.run(l, s.producers)
	return float64(l.jobs) / time.Since(begin).Seconds()
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "go-pools:", message)
	os.Exit(1)
}

func main() {
	var l load
	only := flag.String("pool", "", "only `go-priority` or only `go-channel`")
	flag.IntVar(&l.jobs, "jobs", 1000000, "jobs of one measurement")
	flag.IntVar(&l.block, "block", 1000, "jobs of a block")
	flag.IntVar(&l.inFlight, "inflight", 4, "blocks under way")
	flag.Parse()
	if l.block < 1 || l.inFlight < 1 || l.jobs < 2 || l.jobs%2 != 0 {
		fail("-jobs must be even, and -block and -inflight at least 1")
	}

	best := map[string]float64{}
	for _, s := range shapes {
		if *only != "" && *only != s.pool {
			continue
		}
		// The first round warms the heap and the scheduler up.
		warm := l
		warm.jobs = l.jobs / 20 * 2
		s.measure(warm)
		rate := s.measure(l)
		fmt.Printf("%s-%s %.0f jobs/s\n", s.pool, s.name, rate)
		if rate > best[s.pool] {
			best[s.pool] = rate
		}
	}
	for _, pool := range []string{"go-priority", "go-channel"} {
		if best[pool] > 0 {
			fmt.Printf("%s %.0f jobs/s\n", pool, best[pool])
		}
	}
}
