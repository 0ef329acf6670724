// What a model does with a call: it calls again, with the same arguments, where the answer says so
// or where its client gave up waiting. Used by the TypeScript clients.
export async function ask(once, again = 0) {
  let calls = 0;
  let timeouts = 0;
  for (;;) {
    calls += 1;
    const answer = await once();
    const gaveUp = answer.error?.kind === "timeout";
    if (gaveUp) timeouts += 1;
    const pending = answer.ok?._meta?.["io.placet/decision"]?.code === "approval_pending";
    if (calls > again || !(gaveUp || pending)) return { ...answer, calls, timeouts };
  }
}
