// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"container/heap"
	"sync"
)

// queued is a job in the heap.
type queued struct {
	job      Job
	priority int
	index    int
}

// queue implements heap.Interface, the most urgent job first.
type queue []*queued

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].priority > q[j].priority }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is called by heap.Push.
func (q *queue) Push(x interface{}) {
	item := x.(*queued)
	item.index = len(*q)
	*q = append(*q, item)
}

// Pop is called by heap.Pop.
func (q *queue) Pop() interface{} {
	last := len(*q) - 1
	item := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	item.index = -1
	return item
}

// PriorityPool runs the most urgent of the jobs that wait.
type PriorityPool struct {
	mu       sync.Mutex
	notEmpty *sync.Cond
	queue    queue
	closed   bool
	wg       sync.WaitGroup
}

// NewPriorityPool starts the workers.
func NewPriorityPool(workers int) *PriorityPool {
	p := &PriorityPool{}
	p.notEmpty = sync.NewCond(&p.mu)
	p.wg.Add(workers)
	for i := 0; i < workers; i++ {
		go p.worker()
	}
	return p
}

// Submit queues a job; its result goes to its channel.
func (p *PriorityPool) Submit(job Job, priority int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	heap.Push(&p.queue, &queued{job: job, priority: priority})
	p.notEmpty.Signal()
}

// take waits for a job; false means that the pool is closed and empty.
func (p *PriorityPool) take() (Job, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.queue.Len() == 0 && !p.closed {
		p.notEmpty.Wait()
	}
	if p.queue.Len() == 0 {
		return Job{}, false
	}
	return heap.Pop(&p.queue).(*queued).job, true
}

func (p *PriorityPool) worker() {
	defer p.wg.Done()
	for {
		job, ok := p.take()
		if !ok {
			return
		}
		job.ResultCh <- JobResult{Data: process(job.Payload)}
	}
}

// Close lets the workers finish what is queued and waits for them.
func (p *PriorityPool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.notEmpty.Broadcast()
	p.wg.Wait()
}

// process echoes.
func process(payload Payload) Payload {
	return payload
}

// ChannelPool runs jobs in the order in which they came.
type ChannelPool struct {
	Jobs    chan Payload
	Results chan Payload
	wg      sync.WaitGroup
}

// NewChannelPool starts the workers; both channels have room for `room`.
func NewChannelPool(workers, room int) *ChannelPool {
	p := &ChannelPool{
		Jobs:    make(chan Payload, room),
		Results: make(chan Payload, room),
	}
	p.wg.Add(workers)
	for i := 0; i < workers; i++ {
		go p.worker()
	}
	return p
}

func (p *ChannelPool) worker() {
	defer p.wg.Done()
	for payload := range p.Jobs {
		p.Results <- process(payload)
	}
}

// Close waits for the workers; all results must have been collected.
func (p *ChannelPool) Close() {
	close(p.Jobs)
	p.wg.Wait()
}
