"use strict";
// Keeps the page and the photographs of rows that a device holds, so that it opens and shows them without a connection.

const SHELL = "worldgate-shell-1";
const PHOTOGRAPHS = "worldgate-photographs-1";
const FILES = ["/", "/static/trial.css", "/static/outbox.js", "/static/trial.js"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith("/photograph/")) event.respondWith(photograph(event.request));
  else if (FILES.includes(url.pathname)) event.respondWith(shell(event.request, url));
});

async function photograph(request) {
  const cache = await caches.open(PHOTOGRAPHS);
  const held = await cache.match(request);
  if (held) return held;
  const answer = await fetch(request);
  if (answer.ok) await cache.put(request, answer.clone());
  return answer;
}

async function shell(request, url) {
  try {
    const answer = await fetch(request);
    if (answer.ok && !answer.redirected && !url.search) {
      const cache = await caches.open(SHELL);
      await cache.put(url.pathname, answer.clone());
    }
    return answer;
  } catch (error) {
    const held = await caches.match(url.pathname);
    if (held) return held;
    throw error;
  }
}
