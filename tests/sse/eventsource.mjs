// npm `eventsource`: a browser's EventSource, for Node.
import { createRequire } from "node:module";

const library = createRequire(`${process.argv[3]}/`)("eventsource");
const source = new library.EventSource(process.argv[2]);
const show = (event) => {
    const { id, task } = JSON.parse(event.data);
    console.log(id, event.lastEventId, event.type, task.status);
};
source.addEventListener("task.completed", show);
// Only an event without a type comes here, and there is none.
source.onmessage = (event) => console.log("unexpected", JSON.stringify(event.data));
