-- What a task makes, and by which model. Until here there was one route for submits and one model.
ALTER TABLE task ADD COLUMN kind TEXT DEFAULT 'image' CHECK (kind IN ('image', 'video', 'audio'));
ALTER TABLE task ADD COLUMN model TEXT COLLATE "C" DEFAULT 'z-image-turbo';

-- What an app submitted to EvoLink directly may be anything.
UPDATE task SET kind = NULL, model = NULL WHERE origin <> 'submit';
